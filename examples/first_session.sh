#!/bin/sh
# The same with curl. Usage: first_session.sh [URL]
set -eu
url=${1:-http://127.0.0.1:8000}
session=curl-$(date +%s)

curl -sS --fail-with-body "$url/v1/sessions" -H 'content-type: application/json' -d '{
  "session_id": "'"$session"'", "routing_pattern": "voting", "models": [
    {"id": "ada", "provider": "rehearsal", "model_name": "instant", "role": "architect"},
    {"id": "ben", "provider": "rehearsal", "model_name": "instant", "role": "reviewer"},
    {"id": "cyd", "provider": "rehearsal", "model_name": "instant", "role": "critic"}]}' >/dev/null

curl -sS --fail-with-body "$url/v1/sessions/$session/turns?wait=60" -H 'content-type: application/json' \
  -H "Idempotency-Key: first" -d '{"content": "Tabs or spaces?"}'
echo
curl -sS --fail-with-body -X POST "$url/v1/sessions/$session/replay"
echo

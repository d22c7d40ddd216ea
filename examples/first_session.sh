#!/bin/sh
# The same with curl. Usage: [CONTROL_ROOM_TOKEN=...] first_session.sh [URL]
set -eu
url=${1:-http://127.0.0.1:8000}
session=curl-$(date +%s)-$$

post() {
  curl -sS --fail-with-body -X POST -H 'content-type: application/json' \
    -H "Authorization: Bearer ${CONTROL_ROOM_TOKEN:-}" "$@"
}

post "$url/v1/sessions" -d '{
  "session_id": "'"$session"'", "routing_pattern": "voting", "models": [
    {"id": "ada", "provider": "rehearsal", "model_name": "instant", "role": "architect"},
    {"id": "ben", "provider": "rehearsal", "model_name": "instant", "role": "reviewer"},
    {"id": "cyd", "provider": "rehearsal", "model_name": "instant", "role": "critic"}]}' >/dev/null

post "$url/v1/sessions/$session/turns?wait=60" -H "Idempotency-Key: first" \
  -d '{"content": "Tabs or spaces?"}'
echo
post "$url/v1/sessions/$session/replay"
echo

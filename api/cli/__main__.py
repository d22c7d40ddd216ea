"""`python -m api.cli` is `control-room`."""

from api.cli import app

app(prog_name="control-room")

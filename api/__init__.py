"""The doors: REST, WebSocket, command line, settings, and the wiring of the parts."""

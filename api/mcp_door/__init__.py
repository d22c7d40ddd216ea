"""The room as a server of the Model Context Protocol (MCP): its sessions are tools to ask."""

"""Real servers for the tests: NATS, PostgreSQL and llama.cpp, each a fixture and a class."""

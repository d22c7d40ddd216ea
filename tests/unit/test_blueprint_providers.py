"""The provider configuration that the room was designed with loads as it stands."""

from __future__ import annotations

from actors.providers.config import create, missing, parse

BLUEPRINT = """
{"providers": [
  {"id": "local_ollama", "type": "ollama", "config": {
    "base_url": "http://localhost:11434",
    "available_models": ["llama2", "codellama", "mistral"]}},
  {"id": "azure_gpt4", "type": "azure_openai", "config": {
    "endpoint": "https://my-resource.openai.azure.com", "api_key": "${AZURE_OPENAI_KEY}",
    "api_version": "2024-02-15-preview",
    "deployments": {
      "gpt-4": {"name": "gpt-4-deployment", "context_length": 8192},
      "gpt-4-turbo": {"name": "gpt-4-turbo-deployment", "context_length": 128000}}}},
  {"id": "nvidia_nim", "type": "nvidia", "config": {
    "api_key": "${NVIDIA_API_KEY}",
    "models": ["meta/llama-3.1-405b-instruct", "meta/llama-3.1-70b-instruct"]}},
  {"id": "custom_api", "type": "generic_http", "config": {
    "endpoint": "https://my-custom-llm.com/v1/chat",
    "headers": {"X-API-Key": "${CUSTOM_API_KEY}"},
    "request_template": {
      "model": "{{ config.model_name }}", "messages": "{{ messages }}",
      "temperature": "{{ config.temperature }}"},
    "response_path": "$.choices[0].message.content"}}]}
"""
KEYS = {"AZURE_OPENAI_KEY": "one", "NVIDIA_API_KEY": "two", "CUSTOM_API_KEY": "three"}


def test_every_provider_of_it_can_be_made() -> None:
    specs = parse(BLUEPRINT)
    assert [spec.id for spec in specs] == ["local_ollama", "azure_gpt4", "nvidia_nim", "custom_api"]
    assert [missing(spec, {}) for spec in specs] == [(), *((name,) for name in KEYS)]
    _, azure, *_ = [create(spec, KEYS) for spec in specs]
    assert azure.capabilities("gpt-4").context_length == 8192
    assert azure.capabilities("gpt-4-turbo").context_length == 128_000

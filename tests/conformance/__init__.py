"""The field's public test suites, scored as their authors say; `python -m tests.conformance`."""

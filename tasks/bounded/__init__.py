"""Work whose cost an outsider decides: templates, expressions and schema checks, with a limit of time and memory."""

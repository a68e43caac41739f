"""Steps that follow one another: each one a run of its own, its results the next one's manifest."""

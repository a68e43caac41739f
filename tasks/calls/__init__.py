"""HOW a paid call is made: client, guard, hints, retry, limits, and the call itself."""

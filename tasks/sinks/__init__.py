"""What a run writes to OUT: Parquet parts, media files, subtitles and JSON records."""

"""What the capabilities for speech recognition and speech synthesis share."""

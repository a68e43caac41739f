"""Audio, images and video: read their headers, decode them, convert them within bounds."""

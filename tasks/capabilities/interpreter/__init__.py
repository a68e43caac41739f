"""What runs code keeps: sessions, and what their cells put out."""

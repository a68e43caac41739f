"""What runs code needs: sessions, and the outputs of their cells."""

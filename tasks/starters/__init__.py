"""What one starts from: samples to try things with, ready jobs, and a commented job of one's own."""

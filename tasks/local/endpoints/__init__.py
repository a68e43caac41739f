"""What each path answers: the request as its provider checks it, and the reply in its provider's words."""

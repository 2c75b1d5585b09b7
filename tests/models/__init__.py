"""Models to check the engine against. They share no code with it: written for obviousness, not for speed."""

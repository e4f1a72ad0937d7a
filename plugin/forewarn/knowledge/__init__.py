"""What to do about it: resolution cards as data, reading them, and choosing those that fit an incident. Runs nothing, ever."""

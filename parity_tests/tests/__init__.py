"""What is peculiar to a stem, the course, the engine, the scripts and the house."""

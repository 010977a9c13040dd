"""What is peculiar to one stem."""

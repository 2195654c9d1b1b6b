"""How close region policies come to the truth, which is simulated, seeded and known exactly."""

"""How well region policies find the truth: simulated, seeded, told exactly."""

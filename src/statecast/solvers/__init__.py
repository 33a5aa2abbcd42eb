"""Time: steppers and solvers of differential equations."""

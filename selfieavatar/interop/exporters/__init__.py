"""Write a tracked subject as other methods read it, and bring their images back."""

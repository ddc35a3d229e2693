"""What other people's avatar methods read: their files made of our arrays, and the way back for their pictures."""

"""The procedural demo actor: a modelled person that a face tracker follows, with known truth."""

"""Drawn animals and faces: exact part masks, attributes that can be flipped."""

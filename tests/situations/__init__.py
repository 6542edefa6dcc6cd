"""What comes from real laboratories, one row per situation: each is right, or says clearly that it isn't.

A row has words, what is done to a plain plate, and what has to come of it. A situation that went wrong somewhere
becomes a row here.
"""

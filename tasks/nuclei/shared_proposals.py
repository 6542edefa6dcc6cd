"""The mark of the agreement of two label sets that aren't independent, wherever that agreement is shown."""

MARK = "§"
MEANING = (
    "both label sets were made from the same proposals, or one from the other, so that they may share mistakes: two "
    "people who draw by hand agree less, so that this is no human ceiling"
)

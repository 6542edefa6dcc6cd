"""The mark of the agreement of two label sets that correct the same proposals, wherever that agreement is shown."""

MARK = "§"
MEANING = (
    "both label sets were made from proposals of the same model, which they may share where both are wrong: two people "
    "who draw by hand agree less, so that this is no human ceiling"
)

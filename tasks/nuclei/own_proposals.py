"""The mark of F1 against labels that the scored model proposed, wherever F1 is shown; the manifest tells the DAGs."""

MARK = "†"
MEANING = "against labels that the model itself, or one that it began from, proposed: too good"

"""The model ``multi`` of rtstream, in the folder of that name: rtstream finds it where it is asked for by name."""

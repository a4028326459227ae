//! What is due, and why. Pure: the clock is an argument.

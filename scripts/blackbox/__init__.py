"""Black-box checks of the program, run by scripts/acceptance."""

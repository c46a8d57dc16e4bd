"""Colours and line styles that colour-blind readers and grey printers can tell apart."""

#: Okabe and Ito's set (https://jfly.uni-koeln.de/color), without yellow, too pale on white.
BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"
ORANGE, SKY, PURPLE = "#E69F00", "#56B4E9", "#CC79A7"
INK, GREY, PALE = "#1c2833", "#6b7785", "#dfe4ea"

#: Surfaces are shaded, so they start from paler tints of the same two hues.
TRUTH_SURFACE, PREDICTION_SURFACE = "#5aa9dd", "#f0934e"

#: One meaning each, in every figure of a report.
TRUTH, PREDICTION, RANDOM = BLUE, VERMILLION, GREY

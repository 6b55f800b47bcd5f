"""What is drawn, one function a figure: pages call all of them by ``figures.<name>``."""

# ruff: noqa: F401, F403
from semquant_book.figures.attributes import *
from semquant_book.figures.birds import *
from semquant_book.figures.chapters import *
from semquant_book.figures.diagrams import *
from semquant_book.figures.networks import *
from semquant_book.figures.rankings import *
from semquant_book.figures.slopes import *
from semquant_book.figures.style import *

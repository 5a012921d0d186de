"""Text for people: words in English and Chinese, formulas in plain Unicode, columns of a terminal."""

from lossary.text.formula import readable as readable
from lossary.text.layout import aligned as aligned
from lossary.text.layout import width as width
from lossary.text.phrases import fact as fact
from lossary.text.phrases import is_chinese as is_chinese
from lossary.text.phrases import likelihood as likelihood
from lossary.text.phrases import phrase as phrase
from lossary.text.phrases import quantity as quantity
from lossary.text.phrases import summary as summary

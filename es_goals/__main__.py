"""python -m es_goals"""

from es_goals.cli import main

main()

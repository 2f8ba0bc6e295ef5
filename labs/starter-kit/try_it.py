"""Run ``solve`` on a tier and write the answers: ``python try_it.py TIER.h5 ANSWERS.h5``."""

import sys

from solve import solve
from tqdm import tqdm

from etlab.course.challenge import load_tier, write_submission

tier = load_tier(sys.argv[1])
answers = {name: solve(problem) for name, problem in tqdm(tier.items(), total=len(tier), unit="scene")}
write_submission(sys.argv[2], answers, tier=tier)

"""The three papers' claims on real data, each cell rerun by a command.

    python -m studies attributional                       # what the results do not hold yet
    python -m studies attributional --only fashion-mnist/igr/0
    python -m studies attributional --size smoke          # a minute, to see that it runs
    python -m studies attributional --page                # the page, from the results alone

A study is one file: data, models, arms, attacks, metrics, seeds, and the paper's claims. A cell is
one network of it, measured by an audit. What a cell found, sample by sample, is one Parquet file in
`results/`; weights, checkpoints and audits lie in `runs/studies` and are gone on with.
"""

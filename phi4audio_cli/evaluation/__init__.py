"""Evaluation against references: error rates, BLEU and chrF, and their report."""

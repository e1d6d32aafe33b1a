"""False alarms and misses of the defect checks, and the effect of retries."""

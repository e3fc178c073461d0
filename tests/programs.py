def families(): return []

NAMES=[]
def run(*a): pass
def route(p): return p

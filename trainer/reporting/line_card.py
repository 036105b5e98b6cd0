def render(results):
    return "card"

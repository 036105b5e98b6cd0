def render(results, price):
    return "<h1>page</h1>"

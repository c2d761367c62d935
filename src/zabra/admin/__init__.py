"""What operators see and do: four-letter words, and the table of commands behind them."""

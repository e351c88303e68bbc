"""What a step can do: the contract, the guards and the providers."""

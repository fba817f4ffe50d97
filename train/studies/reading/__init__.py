"""What a router reads in a text: labels, and choices on texts that say the same in other words, languages and forms."""

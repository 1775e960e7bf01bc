"""AWS's two stores of secrets, and the session, the connections and the errors that they share."""

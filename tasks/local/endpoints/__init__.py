"""The endpoints: requests checked as the provider checks them, replies in the provider's form."""

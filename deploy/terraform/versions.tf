# Which Terraform and which provider. Names of arguments are those of azurerm 4.55.

terraform {
  required_version = ">= 1.9"

  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = ">= 4.55, < 5.0"
    }
  }
}

provider "azurerm" {
  subscription_id = var.subscription_id

  # The storage account takes no shared keys, so the provider must not try to use them either.
  storage_use_azuread = true

  features {
    storage {
      # Else the provider asks the account itself for settings that only its data plane knows, which a closed network does not
      # let it reach, and for which being Owner is not enough.
      data_plane_available = false
    }
  }
}

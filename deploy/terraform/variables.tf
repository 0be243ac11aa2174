# What differs between one installation and the next.

variable "subscription_id" {
  description = "Id of the subscription in which all is created."
  type        = string
}

variable "location" {
  description = "Azure region, such as westeurope: the one in which the tables lie, for reading across regions costs time and money."
  type        = string
}

variable "name" {
  description = "What all names begin with, such as limno."
  type        = string
  default     = "limno"

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,6}$", var.name))
    error_message = "The name has 2 to 7 small letters and digits and begins with a letter: names of storage accounts and vaults are made of it."
  }
}

variable "environment" {
  description = "Which of the environments this is, such as dev, staging or prod. It is part of all names."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,7}$", var.environment))
    error_message = "The environment has 2 to 8 small letters and digits and begins with a letter."
  }
}

variable "suffix" {
  description = "A few letters and digits that make the names of the storage account, the vault and the registry unique in the world."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]{2,6}$", var.suffix))
    error_message = "The suffix has 2 to 6 small letters and digits."
  }
}

variable "overlay" {
  description = "The overlay limno.<overlay>.toml that is laid over limno.toml, passed as LIMNO_ENV. None for limno.toml alone."
  type        = string
  default     = null
}

variable "table_containers" {
  description = "Containers for tables that are created here and that limno may read. Empty if all tables lie elsewhere."
  type        = set(string)
  default     = ["ml"]
}

variable "readable_container_ids" {
  description = "Containers that exist already and that limno may read: /subscriptions/…/storageAccounts/ACCOUNT/blobServices/default/containers/NAME."
  type        = set(string)
  default     = []
}

variable "output_container" {
  description = "Container of the metric tables, the only place where limno may write."
  type        = string
  default     = "monitoring"
}

variable "replication" {
  description = "How the storage account is replicated: LRS, ZRS, GRS or GZRS."
  type        = string
  default     = "ZRS"

  validation {
    condition     = contains(["LRS", "ZRS", "GRS", "GZRS"], var.replication)
    error_message = "The replication is LRS, ZRS, GRS or GZRS."
  }
}

variable "shared_keys" {
  description = "Whether the storage account takes account keys, and so SAS tokens signed with them. Leave it off unless an old client needs them."
  type        = bool
  default     = false
}

variable "metric_readers" {
  description = "Object ids of groups or people who may read the metric tables."
  type        = set(string)
  default     = []
}

variable "secret_officers" {
  description = "Object ids of groups or people who may set the secrets in the vault."
  type        = set(string)
  default     = []
}

variable "secrets" {
  description = "Environment variables of the jobs that hold secrets, each with the name of its secret in the vault. The values are set in the vault, not here."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for secret in values(var.secrets) : can(regex("^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", secret))])
    error_message = "Names of secrets have small letters, digits and dashes: the vault and the jobs both allow these."
  }

  validation {
    condition     = length(distinct(values(var.secrets))) == length(var.secrets)
    error_message = "Two variables name the same secret; give each its own."
  }
}

variable "settings" {
  description = "More environment variables of the jobs, nothing secret: RUST_LOG, HTTPS_PROXY, NO_PROXY."
  type        = map(string)
  default     = {}
}

variable "image" {
  description = "Image with limno and its configuration, such as REGISTRY.azurecr.io/limno:2026-03-01. None until it is pushed: then all is created but the jobs."
  type        = string
  default     = null
}

variable "schedule" {
  description = "When limno run starts: cron with five fields, in UTC."
  type        = string
  default     = "30 2 * * *"
}

variable "vacuum_schedule" {
  description = "When limno vacuum starts: cron with five fields, in UTC."
  type        = string
  default     = "30 5 * * 0"
}

variable "timeout_seconds" {
  description = "After how many seconds a run is stopped. The next one goes on where it was."
  type        = number
  default     = 7200
}

variable "cpu" {
  description = "Cores of a job, in steps of 0.25 up to 4. Memory in GiB is twice this number."
  type        = number
  default     = 2

  validation {
    condition     = var.cpu >= 0.25 && var.cpu <= 4 && floor(var.cpu * 4) == var.cpu * 4
    error_message = "A job has 0.25 to 4 cores, in steps of 0.25."
  }
}

variable "network" {
  description = "None for public endpoints. Else a network is made, and the storage account and the vault are reached through private endpoints in it."
  type = object({
    address_space    = string
    jobs_subnet      = string
    endpoints_subnet = string
  })
  default = null
}

variable "allowed_ips" {
  description = "With a network: public IPv4 addresses or ranges that may reach the storage account and the vault all the same, such as an office's."
  type        = set(string)
  default     = []

  validation {
    condition     = length(var.allowed_ips) == 0 || var.network != null
    error_message = "Addresses are allowed beside a network only: jobs without one come from addresses that change."
  }
}

variable "tags" {
  description = "Tags of all resources."
  type        = map(string)
  default     = {}
}
